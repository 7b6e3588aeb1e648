//! The opcodes of pickles that are written or read here, of those that Python's `pickletools` documents: what protocol 2 makes of a
//! state dict, and no other. A pickle works on a stack of objects; a mark on it begins the elements of what is made next.

/// Which protocol follows, in one byte.
pub(super) const PROTO: u8 = 0x80;
/// The protocol that is written; PyTorch's default.
pub(super) const PROTOCOL: u8 = 2;
/// The end; what is on the stack is the result.
pub(super) const STOP: u8 = b'.';

/// Puts a mark on the stack.
pub(super) const MARK: u8 = b'(';
/// `None`.
pub(super) const NONE: u8 = b'N';
/// `True`.
pub(super) const NEW_TRUE: u8 = 0x88;
/// `False`.
pub(super) const NEW_FALSE: u8 = 0x89;
/// An integer in four bytes, signed.
pub(super) const BIN_INT: u8 = b'J';
/// An integer in one byte, unsigned.
pub(super) const BIN_INT_1: u8 = b'K';
/// An integer in two bytes, unsigned.
pub(super) const BIN_INT_2: u8 = b'M';
/// An integer in as many bytes as the next one says, signed.
pub(super) const LONG_1: u8 = 0x8a;
/// A float in eight bytes, the first the highest.
pub(super) const BIN_FLOAT: u8 = b'G';
/// A text: its length in four bytes, then UTF-8.
pub(super) const BIN_UNICODE: u8 = b'X';
/// A text of Python 2: its length in one byte, then as it is.
pub(super) const SHORT_BIN_STRING: u8 = b'U';

/// `()`.
pub(super) const EMPTY_TUPLE: u8 = b')';
/// A tuple of the topmost.
pub(super) const TUPLE_1: u8 = 0x85;
/// A tuple of the two topmost.
pub(super) const TUPLE_2: u8 = 0x86;
/// A tuple of the three topmost.
pub(super) const TUPLE_3: u8 = 0x87;
/// A tuple of all since the mark.
pub(super) const TUPLE: u8 = b't';
/// `[]`.
pub(super) const EMPTY_LIST: u8 = b']';
/// Appends the topmost to the list below it.
pub(super) const APPEND: u8 = b'a';
/// Appends all since the mark to the list below that.
pub(super) const APPENDS: u8 = b'e';
/// `{}`.
pub(super) const EMPTY_DICT: u8 = b'}';
/// Sets the dict below a key and a value.
pub(super) const SET_ITEM: u8 = b's';
/// Sets the dict below the mark by all keys and values since.
pub(super) const SET_ITEMS: u8 = b'u';

/// Something of a Python module: the module's name and its own, each to the end of a line.
pub(super) const GLOBAL: u8 = b'c';
/// Calls what lies below a tuple of arguments.
pub(super) const REDUCE: u8 = b'R';
/// Makes an object of the class below a tuple of arguments.
pub(super) const NEW_OBJECT: u8 = 0x81;
/// Gives the object below its attributes.
pub(super) const BUILD: u8 = b'b';
/// Stands for what the topmost names outside of the pickle: of PyTorch, a storage.
pub(super) const BIN_PERSISTENT_ID: u8 = b'Q';

/// Remembers the topmost under a number of one byte.
pub(super) const BIN_PUT: u8 = b'q';
/// Remembers the topmost under a number of four bytes.
pub(super) const LONG_BIN_PUT: u8 = b'r';
/// What was remembered under a number of one byte.
pub(super) const BIN_GET: u8 = b'h';
/// What was remembered under a number of four bytes.
pub(super) const LONG_BIN_GET: u8 = b'j';
