//! What a pickle built: objects that refer to each other, and a view of them for those who read a file.
//!
//! Why objects by number and no tree: a pickle may put one object into many places, and into itself. Whoever walks here goes where it
//! means to, a step at a time; nothing is ever unfolded as a whole.

use std::ops::Range;

use super::Archive;
use super::place::{Place, Storage};
use crate::state::snapshot::NamedBytes;

/// An object by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ObjectId(pub(super) u32);

/// One object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Object {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Where in the file; it is UTF-8.
    Text(Range<usize>),
    Tuple(Vec<ObjectId>),
    List(Vec<ObjectId>),
    /// Keys and values; of equal keys the last counts.
    Dict(Vec<(ObjectId, ObjectId)>),
    Global(Global),
    /// By its place in [`Graph::storages`].
    Storage(usize),
    /// Apart, so that the others are small.
    Tensor(Box<Place>),
}

/// What a pickle may ask for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch.Size`, a tuple.
    Size,
    /// `torch._utils._rebuild_tensor`: storage, offset, shape, stride.
    RebuildTensor,
    /// `torch._utils._rebuild_tensor_v2`: the same, and whether it learns.
    RebuildTensor2,
    /// `torch._utils._rebuild_parameter`: a tensor, and whether it learns.
    RebuildParameter,
    /// The class of a storage, such as `torch.FloatStorage`.
    Storage(safetensors::Dtype),
}

/// All objects of a pickle.
#[derive(Clone, Debug)]
pub(super) struct Graph {
    pub(super) objects: Vec<Object>,
    pub(super) storages: Vec<Storage>,
    pub(super) root: ObjectId,
}

impl Graph {
    pub(super) fn object(&self, id: ObjectId) -> &Object {
        &self.objects[id.0 as usize]
    }
}

/// An object of an archive.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    archive: &'a Archive,
    id: ObjectId,
}

impl<'a> Node<'a> {
    pub(super) fn root(archive: &'a Archive) -> Self {
        let id = archive.graph.root;
        Self { archive, id }
    }

    fn object(self) -> &'a Object {
        self.archive.graph.object(self.id)
    }

    fn at(self, id: ObjectId) -> Self {
        Self { id, ..self }
    }

    /// Its keys and values, if it is a dict, in their order. Of equal keys the last counts.
    pub fn entries(self) -> Option<impl Iterator<Item = (Self, Self)>> {
        match self.object() {
            Object::Dict(entries) => {
                let entry = move |&(key, value): &(ObjectId, ObjectId)| (self.at(key), self.at(value));
                Some(entries.iter().map(entry))
            }
            _ => None,
        }
    }

    /// What a dict has under a text.
    pub fn get(self, key: &str) -> Option<Self> {
        self.entries()?
            .filter(|(found, _)| found.text() == Some(key))
            .last()
            .map(|(_, value)| value)
    }

    /// What a dict has under a number.
    pub fn get_number(self, key: i64) -> Option<Self> {
        self.entries()?
            .filter(|(found, _)| found.number() == Some(key))
            .last()
            .map(|(_, value)| value)
    }

    /// Its elements, if it is a list or a tuple.
    pub fn items(self) -> Option<impl Iterator<Item = Self>> {
        match self.object() {
            Object::Tuple(items) | Object::List(items) => Some(items.iter().map(move |&id| self.at(id))),
            _ => None,
        }
    }

    /// What it says, if it is a text.
    pub fn text(self) -> Option<&'a str> {
        match self.object() {
            Object::Text(range) => std::str::from_utf8(&self.archive.bytes[range.clone()]).ok(),
            _ => None,
        }
    }

    /// Its value, if it is an integer.
    pub fn number(self) -> Option<i64> {
        match *self.object() {
            Object::Int(value) => Some(value),
            _ => None,
        }
    }

    /// Whether it is a tensor.
    pub fn is_tensor(self) -> bool {
        matches!(self.object(), Object::Tensor(_))
    }

    /// Its elements in row-major order, if it is a tensor.
    pub fn tensor(self) -> Option<NamedBytes> {
        let Object::Tensor(place) = self.object() else {
            return None;
        };
        let storage = &self.archive.graph.storages[place.storage];
        let range = self.archive.storages[place.storage].clone();
        Some(place.gather(storage.dtype, &self.archive.bytes[range]))
    }

    /// Its shape, if it is a tensor.
    pub fn shape(self) -> Option<Vec<usize>> {
        match self.object() {
            Object::Tensor(place) => Some(place.shape()),
            _ => None,
        }
    }

    /// What it is, in a word, for a sentence.
    pub fn kind(self) -> &'static str {
        match self.object() {
            Object::None => "None",
            Object::Bool(_) => "a truth value",
            Object::Int(_) | Object::Float(_) => "a number",
            Object::Text(_) => "a text",
            Object::Tuple(_) | Object::List(_) => "a list",
            Object::Dict(_) => "a dict",
            Object::Tensor(_) => "a tensor",
            Object::Global(_) | Object::Storage(_) => "a class",
        }
    }
}
