// @ts-check

/**
 * The text of whatever was thrown. Errors of Go modules are no instances of Error and have no message.
 *
 * @param {any} error
 * @returns {string}
 */
export function errorText(error) {
  return error?.message ?? String(error);
}

/**
 * A text without the password of a URL in it, which some clients repeat in their errors.
 *
 * @param {string} text
 */
export function withoutPasswords(text) {
  return text.replace(/(:\/\/[^\s/:@]*:)\S+@/g, '$1***@');
}
