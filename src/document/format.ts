/**
 * The numbers that stand for actions and for types of values in the columns of a change
 * (https://automerge.org/automerge-binary-format-spec, "Operation columns").
 */

/** Actions. An increment adds to a counter; a mark formats a part of a text. */
export const MAKE_MAP = 0
export const SET = 1
export const MAKE_LIST = 2
export const DELETE = 3
export const MAKE_TEXT = 4
export const INCREMENT = 5
export const MARK = 7

/** Types of scalar values: the lowest 4 bits of a value's kind. The other bits are the value's length in bytes. */
export const NULL = 0
export const FALSE = 1
export const TRUE = 2
export const UINT = 3
export const INT = 4
export const FLOAT = 5
export const STRING = 6
export const BYTES = 7
export const COUNTER = 8
export const TIMESTAMP = 9
