/** Names that the service's contract fixes. A test holds them to the service's own. */

/** The attribute whose answer is in years, and has probabilities of being at least so old. */
export const AGE = "age";

/** Attributes whose answers have a form of their own; what else a model declares stands beside them. */
export const CONTRACT = new Set([AGE, "gender", "race"]);
