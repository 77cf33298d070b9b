
/** Where the weights come from. */
export interface LoadOptions {
  /** Their URL, the response to a request for them, or their bytes. Without them, the file `__FILE__.params` beside this one. */
  params?: string | URL | Response | BufferSource | PromiseLike<string | URL | Response | BufferSource>;
}
