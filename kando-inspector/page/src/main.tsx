/** Starts the page. */

import { render } from "preact";

import "./views/index";
import { App } from "./ui/app";

const root = document.getElementById("app");
if (root) {
  root.replaceChildren();
  render(<App />, root);
}
