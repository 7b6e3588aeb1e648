//! Files made opcode by opcode, as PyTorch 1.5 made them, and as it never did.

use super::super::opcode as op;

/// What goes into a file: {"start_epoch": 300, "model": OrderedDict of tensors over one storage of six, "optimizer": {…}}.
pub(super) struct Made {
    /// Offset, shape and stride of the tensor `plain`.
    pub(super) tensor: (i32, Vec<i32>, Vec<i32>),
    /// A function that the pickle calls with a text, if any.
    pub(super) call: Option<(&'static str, &'static str, String)>,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            tensor: (0, vec![2, 3], vec![3, 1]),
            call: None,
        }
    }
}

impl Made {
    /// The older form.
    pub(super) fn stream(&self) -> Vec<u8> {
        let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
        file.extend(b"\x80\x02M\xe9\x03.");
        let mut facts = Pickle::new();
        facts.0.extend([op::EMPTY_DICT, op::BIN_PUT, 0, op::MARK]);
        facts.text("protocol_version");
        facts.0.extend([op::BIN_INT_2, 0xe9, 3]);
        facts.text("little_endian");
        facts.0.push(op::NEW_TRUE);
        facts.0.extend([op::SET_ITEMS, op::STOP]);
        file.extend(facts.0);
        file.extend(self.pickle());
        let mut keys = Pickle::new();
        keys.0.extend([op::EMPTY_LIST, op::BIN_PUT, 0]);
        keys.text("94087392");
        keys.0.extend([op::APPEND, op::STOP]);
        file.extend(keys.0);
        file.extend(6u64.to_le_bytes());
        file.extend((0u8..6).flat_map(|i| f32::from(i).to_le_bytes()));
        file
    }

    fn pickle(&self) -> Vec<u8> {
        let mut pickle = Pickle::new();
        pickle.0.extend([op::EMPTY_DICT, op::BIN_PUT, 0, op::MARK]);
        pickle.text("start_epoch");
        pickle.0.extend([op::BIN_INT_2, 44, 1]);
        if let Some((module, name, argument)) = &self.call {
            pickle.text("args");
            pickle.global(module, name);
            pickle.text(argument);
            pickle.0.extend([op::TUPLE_1, op::REDUCE]);
        }
        pickle.text("model");
        pickle.global("collections", "OrderedDict");
        pickle
            .0
            .extend([op::EMPTY_TUPLE, op::REDUCE, op::BIN_PUT, 1, op::MARK]);
        let (offset, shape, stride) = &self.tensor;
        for (name, offset, shape, stride) in [
            ("plain", *offset, shape.as_slice(), stride.as_slice()),
            ("turned", 0, &[3, 2], &[1, 3]),
            ("part", 2, &[2], &[3]),
        ] {
            pickle.text(name);
            pickle.tensor(offset, shape, stride);
        }
        pickle.0.push(op::SET_ITEMS);
        // `_metadata`, which a module's state dict has as an attribute.
        pickle.0.extend([op::EMPTY_DICT, op::BUILD]);
        pickle.text("optimizer");
        pickle.0.extend([op::EMPTY_DICT, op::MARK]);
        pickle.text("state");
        pickle
            .0
            .extend([op::EMPTY_DICT, op::BIN_INT_1, 0, op::EMPTY_DICT]);
        pickle.text("momentum_buffer");
        pickle.tensor(0, &[2, 3], &[3, 1]);
        pickle.0.extend([op::SET_ITEM, op::SET_ITEM, op::SET_ITEMS]);
        pickle.0.extend([op::SET_ITEMS, op::STOP]);
        pickle.0
    }
}

struct Pickle(Vec<u8>);

impl Pickle {
    fn new() -> Self {
        Self(vec![op::PROTO, 2])
    }

    fn text(&mut self, text: &str) {
        self.0.push(op::BIN_UNICODE);
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.push(op::GLOBAL);
        self.0.extend(format!("{module}\n{name}\n").as_bytes());
    }

    fn number(&mut self, number: i32) {
        self.0.push(op::BIN_INT);
        self.0.extend(number.to_le_bytes());
    }

    fn tensor(&mut self, offset: i32, shape: &[i32], stride: &[i32]) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.0.extend([op::MARK, op::MARK]);
        self.text("storage");
        self.global("torch", "FloatStorage");
        self.text("94087392");
        self.text("cuda:0");
        self.number(6);
        self.0.extend([op::NONE, op::TUPLE, op::BIN_PERSISTENT_ID]);
        self.number(offset);
        for counts in [shape, stride] {
            self.0.push(op::MARK);
            counts.iter().for_each(|&count| self.number(count));
            self.0.push(op::TUPLE);
        }
        self.0.push(op::NEW_FALSE);
        self.global("collections", "OrderedDict");
        self.0
            .extend([op::EMPTY_TUPLE, op::REDUCE, op::TUPLE, op::REDUCE]);
    }
}
