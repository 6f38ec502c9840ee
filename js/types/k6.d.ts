/** The part of the k6 runtime that the scripts use and @types/k6 leaves to the DOM's typings. */
declare const console: Record<'debug' | 'log' | 'info' | 'warn' | 'error', (...values: unknown[]) => void>;

/** Loads a module in the init context, by a path from the script that calls. */
declare function require(path: string): any;
