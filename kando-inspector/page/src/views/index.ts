/** Imports each view, so that it registers itself. */
