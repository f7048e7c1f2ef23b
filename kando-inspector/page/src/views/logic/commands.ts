/** The commands that do what the page does, quoted for a POSIX shell. */


/** Returns a word as a shell reads it: as it is, or in single quotes. */
export function quoted(word: string): string {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replace(/'/g, `'\\''`)}'`;
}

/** Returns a `kando` command of its words; a word that is null or false is left out. */
export function command(...words: readonly (string | number | null | false)[]): string {
  const given = words.filter((each): each is string | number => each !== null && each !== false);
  return ["kando", ...given.map((each) => quoted(String(each)))].join(" ");
}
