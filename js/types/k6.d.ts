/** The part of the k6 runtime that the scripts use and @types/k6 leaves to the DOM's typings. */
declare const console: Record<'debug' | 'log' | 'info' | 'warn' | 'error', (...values: unknown[]) => void>;
