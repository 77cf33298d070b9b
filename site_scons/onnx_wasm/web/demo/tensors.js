// Tensors from what people type and from files, and back.

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, float16: Uint16Array,
  int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array, bool: Uint8Array,
};

/** NumPy's letter for the kind of each dtype. */
const KINDS = { f: /^float/, i: /^int/, u: /^uint/, b: /^bool/ };

export function array(dtype, size) {
  return new ARRAYS[dtype](size);
}

/** An element from its text; `where` is what messages call it. */
export function parse(dtype, text, where) {
  if (dtype.startsWith("float")) {
    const plain = text.replace(/^([+-]?)inf(inity)?$/i, "$1Infinity");
    const number = Number(plain);
    if (plain === "" || (Number.isNaN(number) && !/^nan$/i.test(plain))) {
      throw new Error(`${where}: “${text}” is not a number.`);
    }
    return dtype === "float16" ? halfBits(number) : number;
  }
  const [least, most] = range(dtype);
  if (!/^[+-]?\d+$/.test(text)) throw new Error(`${where}: “${text}” is not a whole number.`);
  const number = BigInt(text.replace(/^\+/, ""));
  if (number < least || number > most) throw new Error(`${where}: ${text} is not between ${least} and ${most}.`);
  return dtype.endsWith("64") ? number : Number(number);
}

/** The least and the largest number of an integer dtype. */
function range(dtype) {
  if (dtype === "bool") return [0n, 1n];
  const bits = BigInt(dtype.replace(/\D+/, ""));
  return dtype.startsWith("u") ? [0n, 2n ** bits - 1n] : [-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n];
}

/** The elements of an array as numbers. */
export function numbers(dtype, tensor) {
  return Array.from(tensor, dtype === "float16" ? halfNumber : Number);
}

/**
 * Reads a tensor from a file: npy, or the bare elements.
 * The format npy is that of NumPy's documentation, numpy.lib.format.
 */
export function read(it, bytes, name) {
  const isNpy = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59].every((byte, index) => bytes[index] === byte);
  const data = isNpy ? npy(it, bytes, name) : bytes;
  const wanted = it.size * ARRAYS[it.dtype].BYTES_PER_ELEMENT;
  if (data.length !== wanted) throw new Error(`${name} has ${data.length} bytes of elements, and ${it.name} ${wanted}.`);
  return new ARRAYS[it.dtype](data.slice().buffer);
}

function npy(it, bytes, name) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 12) throw new Error(`${name} ends within its header.`);
  const [start, length] = bytes[6] === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, start + length));
  const [, order, kind, size] = /'descr': '([<>|=])([a-z])(\d+)'/.exec(header) ?? [];
  const shape = /'shape': \(([\d, ]*)\)/.exec(header)?.[1].split(",").filter((part) => part.trim()).map(Number);
  const fits = KINDS[kind]?.test(it.dtype) && Number(size) === ARRAYS[it.dtype].BYTES_PER_ELEMENT && order !== ">";
  if (!fits) throw new Error(`${name} does not hold ${it.dtype}, which ${it.name} is.`);
  if (/'fortran_order': True/.test(header)) throw new Error(`${name} is in Fortran order: save it in C order.`);
  if (String(shape) !== String(it.shape)) {
    throw new Error(`${name} has the shape [${(shape ?? []).join(", ")}], and ${it.name} [${it.shape.join(", ")}].`);
  }
  return bytes.subarray(start + length);
}

/** The bits of the nearest float16, ties to even (IEEE 754 binary16). */
function halfBits(number) {
  if (Number.isNaN(number)) return 0x7e00;
  const sign = number < 0 || Object.is(number, -0) ? 0x8000 : 0;
  const size = Math.abs(number);
  if (size >= 65520) return sign | 0x7c00;
  const exponent = Math.max(Math.floor(Math.log2(size)), -14);
  const steps = size / 2 ** (exponent - 10);
  const floor = Math.floor(steps);
  const rest = steps - floor;
  const rounded = floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0);
  return sign | (rounded + (exponent + 14) * 1024);
}

function halfNumber(bits) {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
}
