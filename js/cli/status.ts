/** Exit statuses. */

/** The question was answered. */
export const ANSWERED = 0

/** Anything but an answer or the caller's mistake: an interrupt, a refused certificate, a defect, an answer that got lost. */
export const FAILURE = 1

/** The command was used wrongly, or an input or file is not what it has to be. */
export const BAD_INPUT = 2
