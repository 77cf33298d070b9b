// The types of __FILE__.js.

/// <reference lib="dom" />

/** An array of float16: its bits, or numbers where the engine has Float16Array. */
type Float16 = Uint16Array | (typeof globalThis extends { Float16Array: { prototype: infer Array } } ? Array : never);

/** Pixels of four bytes each (red, green, blue, alpha), row by row from the top: what ImageData is. */
export interface Pixels {
  readonly data: Uint8ClampedArray | Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** A picture of any size up to the input's `maxPixels`. Its alpha is ignored. */
export type Picture = ImageData | Pixels | ImageBitmap | HTMLCanvasElement | OffscreenCanvas;

/** What the model takes. */
export interface Inputs {
__INPUTS__
}

/** What the model gives. */
export interface Outputs {
__OUTPUTS__
}

export type Dtype =
  | "float32" | "float64" | "float16"
  | "int8" | "int16" | "int32" | "int64"
  | "uint8" | "uint16" | "uint32" | "uint64"
  | "bool";

/** What there is to know of an input or output. */
export interface Tensor<Name extends string = string> {
  readonly name: Name;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** The number of elements. */
  readonly size: number;
  /** Bytes from the start of the inputs or outputs in the module's memory. */
  readonly offset: number;
  /** How a picture becomes the tensor; null if none does. */
  readonly image: Image | null;
}

export interface Image {
  readonly width: number;
  readonly height: number;
  readonly color: "gray" | "rgb" | "bgr";
  readonly resize: "nearest" | "bilinear";
  /** Per channel: a value from 0 to 255 becomes `(value - mean) * scale`. */
  readonly mean: readonly number[];
  readonly scale: readonly number[];
  /** The largest picture that is taken: width × height. */
  readonly maxPixels: number;
}

/** What the model takes, in order. */
export const inputs: readonly Tensor<keyof Inputs & string>[];

/** What the model gives, in order. */
export const outputs: readonly Tensor<keyof Outputs & string>[];

/** The module could not do its work. */
export class ModelError extends Error {
  private constructor();
  /**
   * Why:
__STATUSES__
   */
  readonly code: number;
}

export interface RunOptions {
  /** Gives the outputs where they stand in the module's memory: they hold until the next run. Default: copies. */
  views?: boolean;
}

/** A loaded model. It runs one thing at a time, and can be used again after it has thrown. */
export interface Model {
  /**
   * Runs the model once.
   * @throws TypeError An input is missing, unknown, or of another type or length.
   * @throws ModelError The module could not do its work.
   */
  run(inputs: Inputs, options?: RunOptions): Outputs;
}

/** Where the module comes from. */
export type Source = string | URL | Response | BufferSource | WebAssembly.Module;
__LOADTYPES__
/**
 * Loads the model.
 * @param source The module: its URL, the response to a request for it, its bytes, or the module compiled.
 *   Without one, the file beside this one.__LOADHELP__
 */
export function load(source?: Source | PromiseLike<Source>__LOADOPTIONS__): Promise<Model>;
