/** The page: the list of runs, or one run. */

export function App() {
  return <main>Kando</main>;
}
