//! What the machine does with its bytes and its stack: reading, pushing, and making containers of what lies above a mark.

use std::ops::Range;

use super::super::graph::{Object, ObjectId};
use super::super::opcode as op;
use super::super::problem::Problem;
use super::{Done, Machine};

const UNDERFLOW: Problem = Problem::Nonsense("it takes what it never put on its stack");

impl Machine<'_> {
    pub(super) fn byte(&mut self) -> Result<u8, Problem> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let range = self.take(N)?;
        self.bytes[range].try_into().map_err(|_| Problem::Cut)
    }

    /// Where the next bytes are.
    pub(super) fn take(&mut self, n: usize) -> Result<Range<usize>, Problem> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.bytes.len());
        let range = self.at..end.ok_or(Problem::Cut)?;
        self.at = range.end;
        Ok(range)
    }

    pub(super) fn object(&self, id: ObjectId) -> &Object {
        &self.objects[id.0 as usize]
    }

    pub(super) fn push(&mut self, object: Object) {
        let id = u32::try_from(self.objects.len()).expect("the objects are bounded");
        self.objects.push(object);
        self.stack.push(ObjectId(id));
    }

    /// The topmost, taken; nothing from below a mark.
    pub(super) fn pop(&mut self) -> Result<ObjectId, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(UNDERFLOW);
        }
        self.stack.pop().ok_or(UNDERFLOW)
    }

    pub(super) fn top(&self) -> Result<ObjectId, Problem> {
        self.stack.last().copied().ok_or(UNDERFLOW)
    }

    /// All since the mark, and the mark.
    fn since_mark(&mut self) -> Result<Vec<ObjectId>, Problem> {
        let mark = self.marks.pop().ok_or(UNDERFLOW)?;
        if mark > self.stack.len() {
            return Err(UNDERFLOW);
        }
        Ok(self.stack.split_off(mark))
    }

    /// So many topmost, in the order in which they came.
    fn topmost(&mut self, n: usize) -> Result<Vec<ObjectId>, Problem> {
        let mut items = Vec::with_capacity(n);
        for _ in 0..n {
            items.push(self.pop()?);
        }
        items.reverse();
        Ok(items)
    }

    pub(super) fn tuple(&mut self, opcode: u8) -> Done {
        let items = match opcode {
            op::EMPTY_TUPLE => Vec::new(),
            op::TUPLE_1 => self.topmost(1)?,
            op::TUPLE_2 => self.topmost(2)?,
            op::TUPLE_3 => self.topmost(3)?,
            _ => self.since_mark()?,
        };
        self.push(Object::Tuple(items));
        Ok(())
    }

    pub(super) fn empty(&mut self, opcode: u8) -> Done {
        self.push(match opcode {
            op::EMPTY_LIST => Object::List(Vec::new()),
            _ => Object::Dict(Vec::new()),
        });
        Ok(())
    }

    pub(super) fn append(&mut self, opcode: u8) -> Done {
        let items = match opcode {
            op::APPEND => self.topmost(1)?,
            _ => self.since_mark()?,
        };
        let list = self.top()?;
        match &mut self.objects[list.0 as usize] {
            Object::List(list) => list.extend(items),
            _ => return Err(Problem::Nonsense("elements for what is no list")),
        }
        Ok(())
    }

    pub(super) fn set(&mut self, opcode: u8) -> Done {
        let items = match opcode {
            op::SET_ITEM => self.topmost(2)?,
            _ => self.since_mark()?,
        };
        let (entries, []) = items.as_chunks() else {
            return Err(Problem::Nonsense("a key without a value"));
        };
        let dict = self.top()?;
        match &mut self.objects[dict.0 as usize] {
            Object::Dict(dict) => dict.extend(entries.iter().map(|&[key, value]| (key, value))),
            _ => return Err(Problem::Nonsense("entries for what is no dict")),
        }
        Ok(())
    }
}
