export { Elector, type Options } from "./elector.js";
export { Always, Fake } from "./fake.js";
export { bootTime, Grant } from "./grant.js";
export { Pulse } from "./pulse.js";
export type { Level, View } from "./view.js";
