/** The one function of fflate that is used, in a file of its own: a bundler that meets `import("fflate")` takes all of it. */
export { deflateSync } from "fflate"
