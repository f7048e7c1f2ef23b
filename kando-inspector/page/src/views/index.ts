/** Imports each view, so that it registers itself. */

import "./approvals";
import "./artifacts";
import "./branches";
import "./compare";
import "./conversation";
import "./cost";
import "./diff";
import "./trace";
import "./world";
