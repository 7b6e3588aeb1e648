//! The machine that runs a pickle: a stack, a memory, and the few opcodes and names that a state dict needs.
//!
//! It calls nothing. The names it knows stand for dicts and tensors that it makes itself; any other ends it, by its name. Every object
//! it makes is paid for by at least a byte of the pickle, what it copies is counted, and there are limits on both.

mod stack;

use std::collections::HashMap;
use std::ops::Range;

use safetensors::Dtype;

use super::graph::{Global, Graph, Object, ObjectId};
use super::opcode as op;
use super::place::{Place, Storage};
use super::problem::Problem;

/// Bytes of a pickle. A ResNet-152's whole training state has 0.4 MB.
const LARGEST: usize = 64 << 20;
/// Objects of a pickle, things on its stack, in its memory. A ResNet-152's whole training state has 40,000.
const MOST_OBJECTS: usize = 1 << 19;
/// Arguments of a call, parts of a persistent id, dimensions of a tensor.
const MOST_PARTS: usize = 8;
/// Marks on the stack at the same time: objects being made within each other.
const MOST_MARKS: usize = 1000;
/// Bytes of a module's name, of a name within, of a storage's key.
const LONGEST_NAME: usize = 256;
/// The highest protocol whose opcodes are known.
const HIGHEST_PROTOCOL: u8 = 2;

/// What is in progress.
pub(super) struct Machine<'b> {
    bytes: &'b [u8],
    begin: usize,
    at: usize,
    stack: Vec<ObjectId>,
    marks: Vec<usize>,
    memory: HashMap<u32, ObjectId>,
    objects: Vec<Object>,
    storages: Vec<Storage>,
    /// Places of the storages by their keys.
    keys: HashMap<String, usize>,
    /// Entries of dicts that were copied from lists.
    n_copied: usize,
}

type Done = Result<(), Problem>;

/// Runs the pickle that begins at `at`; what it built, and where it ends.
///
/// # Errors
/// When it is cut, senseless or too large, or asks for what a state dict has not.
pub(super) fn run(bytes: &[u8], at: usize) -> Result<(Graph, usize), Problem> {
    let mut machine = Machine {
        bytes,
        begin: at,
        at,
        stack: Vec::new(),
        marks: Vec::new(),
        memory: HashMap::new(),
        objects: Vec::new(),
        storages: Vec::new(),
        keys: HashMap::new(),
        n_copied: 0,
    };
    loop {
        let opcode = machine.byte()?;
        if opcode == op::STOP {
            break;
        }
        machine.step(opcode)?;
        machine.require_bounds()?;
    }
    let root = machine.pop()?;
    let Machine {
        objects,
        storages,
        at,
        ..
    } = machine;
    let graph = Graph {
        objects,
        storages,
        root,
    };
    Ok((graph, at))
}

impl<'b> Machine<'b> {
    fn step(&mut self, opcode: u8) -> Done {
        match opcode {
            op::PROTO => match self.byte()? {
                0..=HIGHEST_PROTOCOL => Ok(()),
                other => Err(Problem::Protocol(other)),
            },
            op::MARK => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            op::BIN_PUT | op::LONG_BIN_PUT | op::BIN_GET | op::LONG_BIN_GET => self.remember(opcode),
            op::GLOBAL => self.global(),
            op::REDUCE | op::NEW_OBJECT => self.call(),
            op::BUILD => self.build(),
            op::BIN_PERSISTENT_ID => self.persistent(),
            op::EMPTY_TUPLE | op::TUPLE_1 | op::TUPLE_2 | op::TUPLE_3 | op::TUPLE => self.tuple(opcode),
            op::EMPTY_LIST | op::EMPTY_DICT => self.empty(opcode),
            op::APPEND | op::APPENDS => self.append(opcode),
            op::SET_ITEM | op::SET_ITEMS => self.set(opcode),
            other => self.constant(other),
        }
    }

    /// Limits on everything that a pickle can make grow.
    fn require_bounds(&self) -> Done {
        let bounds = [
            ("bytes", self.at - self.begin, LARGEST),
            ("objects", self.objects.len(), MOST_OBJECTS),
            ("copied entries", self.n_copied, MOST_OBJECTS),
            ("objects on its stack", self.stack.len(), MOST_OBJECTS),
            ("remembered objects", self.memory.len(), MOST_OBJECTS),
            ("nested objects", self.marks.len(), MOST_MARKS),
        ];
        let over = bounds.iter().find(|(_, n, limit)| n > limit);
        over.map_or(Ok(()), |&(what, _, limit)| Err(Problem::TooMuch { what, limit }))
    }

    /// Numbers, texts and the like.
    fn constant(&mut self, opcode: u8) -> Done {
        let object = match opcode {
            op::NONE => Object::None,
            op::NEW_TRUE => Object::Bool(true),
            op::NEW_FALSE => Object::Bool(false),
            op::BIN_INT => Object::Int(i32::from_le_bytes(self.array()?).into()),
            op::BIN_INT_1 => Object::Int(self.byte()?.into()),
            op::BIN_INT_2 => Object::Int(u16::from_le_bytes(self.array()?).into()),
            op::LONG_1 => Object::Int(self.long()?),
            op::BIN_FLOAT => Object::Float(f64::from_be_bytes(self.array()?)),
            op::BIN_UNICODE => {
                let n = u32::from_le_bytes(self.array()?);
                Object::Text(self.text(n as usize)?)
            }
            op::SHORT_BIN_STRING => {
                let n = self.byte()?;
                Object::Text(self.text(n.into())?)
            }
            other => return Err(Problem::Opcode(other)),
        };
        self.push(object);
        Ok(())
    }

    /// An integer of up to eight bytes, signed.
    fn long(&mut self) -> Result<i64, Problem> {
        let n = usize::from(self.byte()?);
        let range = self.take(n)?;
        let bytes = &self.bytes[range];
        let filler = bytes
            .last()
            .map_or(0, |last| if last & 0x80 == 0 { 0 } else { 0xff });
        let mut whole = [filler; 8];
        whole
            .get_mut(..n)
            .ok_or(Problem::Nonsense("an integer beyond 64 bits"))?
            .copy_from_slice(bytes);
        Ok(i64::from_le_bytes(whole))
    }

    fn text(&mut self, n: usize) -> Result<Range<usize>, Problem> {
        let range = self.take(n)?;
        match std::str::from_utf8(&self.bytes[range.clone()]) {
            Ok(_) => Ok(range),
            Err(_) => Err(Problem::Nonsense("a text that is not UTF-8")),
        }
    }

    fn remember(&mut self, opcode: u8) -> Done {
        let number = match opcode {
            op::BIN_PUT | op::BIN_GET => self.byte()?.into(),
            _ => u32::from_le_bytes(self.array()?),
        };
        if matches!(opcode, op::BIN_PUT | op::LONG_BIN_PUT) {
            let topmost = self.top()?;
            self.memory.insert(number, topmost);
        } else {
            let remembered = self.memory.get(&number).copied();
            self.stack
                .push(remembered.ok_or(Problem::Nonsense("it recalls what it never remembered"))?);
        }
        Ok(())
    }

    fn global(&mut self) -> Done {
        let (module, name) = (self.line()?, self.line()?);
        let global = match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch", "Size") => Global::Size,
            ("torch._utils", "_rebuild_tensor") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor2,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("torch", class) => match storage_class(class) {
                Some(dtype) => Global::Storage(dtype),
                None => return Err(Problem::Global(format!("{module}.{name}"))),
            },
            _ => return Err(Problem::Global(format!("{module}.{name}"))),
        };
        self.push(Object::Global(global));
        Ok(())
    }

    /// A line of a name, without its end.
    fn line(&mut self) -> Result<&'b str, Problem> {
        let bytes: &'b [u8] = self.bytes;
        let rest = &bytes[self.at..];
        let n = rest.iter().take(LONGEST_NAME).position(|&byte| byte == b'\n');
        let n = match n {
            Some(n) => n,
            None if rest.len() <= LONGEST_NAME => return Err(Problem::Cut),
            None => return Err(Problem::Nonsense("a name without an end")),
        };
        self.at += n + 1;
        let name = Some(&rest[..n]).filter(|name| name.iter().all(u8::is_ascii_graphic));
        name.and_then(|name| std::str::from_utf8(name).ok())
            .ok_or(Problem::Nonsense("a name that is none"))
    }

    /// What a known name makes of its arguments.
    fn call(&mut self) -> Done {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let arguments = self.parts(arguments)?;
        let Object::Global(global) = *self.object(callable) else {
            return Err(Problem::Nonsense("a call of what is no function"));
        };
        let made = match (global, arguments.as_slice()) {
            (Global::OrderedDict, []) => Object::Dict(Vec::new()),
            (Global::OrderedDict, [pairs]) => {
                let entries = self.pairs(*pairs)?;
                self.n_copied += entries.len();
                Object::Dict(entries)
            }
            (Global::Size, [sides]) | (Global::RebuildParameter, [sides, ..]) => {
                self.stack.push(*sides);
                return Ok(());
            }
            (Global::RebuildTensor | Global::RebuildTensor2, &[storage, offset, shape, stride, ..]) => {
                Object::Tensor(Box::new(self.tensor(storage, offset, shape, stride)?))
            }
            _ => return Err(Problem::Nonsense("a call with other arguments than PyTorch's")),
        };
        self.push(made);
        Ok(())
    }

    /// The entries of a dict that is made of a list of pairs, as Python 2 made it.
    fn pairs(&self, list: ObjectId) -> Result<Vec<(ObjectId, ObjectId)>, Problem> {
        let pair = |id: &ObjectId| match self.object(*id) {
            Object::Tuple(pair) | Object::List(pair) => match pair[..] {
                [key, value] => Ok((key, value)),
                _ => Err(Problem::Nonsense("a dict's entry that is no pair")),
            },
            _ => Err(Problem::Nonsense("a dict's entry that is no pair")),
        };
        match self.object(list) {
            Object::List(pairs) | Object::Tuple(pairs) => pairs.iter().map(pair).collect(),
            _ => Err(Problem::Nonsense("a dict made of what is no list")),
        }
    }

    fn tensor(
        &self,
        storage: ObjectId,
        offset: ObjectId,
        shape: ObjectId,
        stride: ObjectId,
    ) -> Result<Place, Problem> {
        let Object::Storage(storage) = *self.object(storage) else {
            return Err(Problem::Nonsense("a tensor over what is no storage"));
        };
        let offset = self.count(offset)?;
        let (shape, stride) = (self.counts(shape)?, self.counts(stride)?);
        Place::new((storage, &self.storages[storage]), offset, shape, stride)
    }

    /// A number that counts.
    fn count(&self, id: ObjectId) -> Result<u64, Problem> {
        match *self.object(id) {
            Object::Int(value) => u64::try_from(value).ok(),
            _ => None,
        }
        .ok_or(Problem::Nonsense(
            "a tensor's offset, side or stride that is no count",
        ))
    }

    fn counts(&self, id: ObjectId) -> Result<Vec<u64>, Problem> {
        self.parts(id)?.into_iter().map(|id| self.count(id)).collect()
    }

    /// The parts of a tuple of few.
    fn parts(&self, id: ObjectId) -> Result<Vec<ObjectId>, Problem> {
        match self.object(id) {
            Object::Tuple(parts) if parts.len() <= MOST_PARTS => Ok(parts.clone()),
            _ => Err(Problem::Nonsense(
                "arguments, a shape or a stride that is no tuple of a few",
            )),
        }
    }

    /// Attributes: a state dict has `_metadata`, with the versions of modules, which nothing here depends on.
    fn build(&mut self) -> Done {
        let _attributes = self.pop()?;
        let object = self.top()?;
        match self.object(object) {
            Object::Dict(_) => Ok(()),
            _ => Err(Problem::Nonsense("attributes of what is no dict")),
        }
    }

    /// A storage: ("storage", its class, its key, where it lay, its elements).
    fn persistent(&mut self) -> Done {
        const OTHER: Problem = Problem::Nonsense("a persistent id that names no storage");
        let id = self.pop()?;
        let parts = self.parts(id)?;
        let [what, class, key, _place, n_elements, rest @ ..] = parts.as_slice() else {
            return Err(OTHER);
        };
        if self.said(*what) != Some("storage") {
            // "module": the source of a class that was saved whole.
            return Err(OTHER);
        }
        if rest.iter().any(|&view| *self.object(view) != Object::None) {
            return Err(Problem::Nonsense(
                "a storage that is a view of another, as PyTorch wrote before 0.4",
            ));
        }
        let key = self.said(*key).filter(|key| key.len() <= LONGEST_NAME);
        let (&Object::Global(Global::Storage(dtype)), Some(key)) = (self.object(*class), key) else {
            return Err(OTHER);
        };
        let storage = Storage {
            key: key.to_owned(),
            dtype,
            n_elements: self.count(*n_elements)?,
        };
        let place = self.place_of(storage)?;
        self.push(Object::Storage(place));
        Ok(())
    }

    /// The place of a storage, a new one for a new key.
    fn place_of(&mut self, storage: Storage) -> Result<usize, Problem> {
        match self.keys.get(&storage.key) {
            Some(&known) if self.storages[known] == storage => Ok(known),
            Some(_) => Err(Problem::Nonsense("two storages of one key")),
            None => {
                self.keys.insert(storage.key.clone(), self.storages.len());
                self.storages.push(storage);
                Ok(self.storages.len() - 1)
            }
        }
    }

    fn said(&self, id: ObjectId) -> Option<&str> {
        match self.object(id) {
            Object::Text(range) => std::str::from_utf8(&self.bytes[range.clone()]).ok(),
            _ => None,
        }
    }
}

/// The element type of a storage's class.
fn storage_class(name: &str) -> Option<Dtype> {
    Some(match name {
        "DoubleStorage" => Dtype::F64,
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::BOOL,
        _ => return None,
    })
}
