/**
 * Pictures and reports of results, without a browser. What draws is loaded when the first picture is made.
 *
 * @module lipbound/report
 */
export { sweepPicture } from './sweep-picture.js'
export { layersPicture } from './layers-picture.js'
export { marginsPicture } from './margins-picture.js'
export type { MarginsPictureOptions } from './margins-picture.js'
export { radiiPicture } from './radii-picture.js'
export { report } from './report.js'
export type { ReportOptions } from './report.js'
export type { OfInput } from './sections.js'
export { toPng } from './png.js'
export type { PngOptions } from './png.js'
export type { PictureOptions } from './options.js'
export type { Theme } from './theme.js'
