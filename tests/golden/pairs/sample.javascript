/**
 * @license MIT
 * Copyright somebody.
 */

/**
 * @fileoverview Reads and writes the settings of the user.
 */

/**
 * Merges two settings, the second one wins. See {@link Settings#merge}.
 *
 * @param {object} first one
 * @returns {object} both
 */
export function mergeSettings(first, second) {
  const merged = { ...first };
  // copy every key of the second over
  for (const key of Object.keys(second)) {
    merged[key] = second[key];
  }
  return merged;
}

export class SettingsStore extends Store {
  /** Writes all settings to the <b>disk</b> at once. */
  async flushAll(folder) {
    const text = JSON.stringify(this.settings);
    await write(folder, text);
  }
}
