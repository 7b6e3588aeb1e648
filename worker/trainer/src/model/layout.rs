//! Where each parameter and each normalisation layer lies in the flat vectors.
//!
//! All parameters of a network stand in one long vector, each at a multiple of 64 bytes, so that teacher, optimizer, sum
//! over ranks, digest and snapshot are a few operations over a few vectors. Parameters stand in the order of the
//! forward: the teacher's are a prefix of the student's, and gradients fill the vector from its end.

/// A parameter by its place in [`Layout::parameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterId(pub usize);

/// A normalisation layer by its place in [`Layout::norms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormId(pub usize);

/// What a parameter is; decides its initialisation and whether LARS adapts its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weight of a convolution, [out, in, k, k].
    Convolution,
    /// Weight of a linear layer, [out, in].
    Linear,
    /// Bias of a linear layer with so many inputs.
    LinearBias {
        /// Inputs of the layer.
        fan_in: i64,
    },
    /// Weight of a linear head, [classes, in].
    ClassifierWeight,
    /// Bias of a linear head.
    ClassifierBias,
    /// Scale of a normalisation.
    NormWeight,
    /// Shift of a normalisation.
    NormBias,
}

/// One parameter.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// torchvision's name in the encoder, the published name in the heads.
    pub name: String,
    /// Its shape.
    pub shape: Vec<i64>,
    /// What it is.
    pub role: Role,
    /// First element in the flat vector.
    pub offset: i64,
}

impl Parameter {
    /// Elements.
    pub fn len(&self) -> i64 {
        self.shape.iter().product()
    }

    /// Never: a parameter has at least one element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One normalisation layer.
#[derive(Clone, Debug)]
pub struct NormLayer {
    /// Its name, such as `layer1.0.bn1`.
    pub name: String,
    /// Channels.
    pub channels: i64,
    /// First channel in the flat vectors of statistics.
    pub offset: i64,
}

/// All parameters and normalisation layers, in order of the forward.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Parameters.
    pub parameters: Vec<Parameter>,
    /// Normalisation layers.
    pub norms: Vec<NormLayer>,
    n_elements: i64,
    n_channels: i64,
}

/// A prefix of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Parameters.
    pub n_parameters: usize,
    /// Elements of the flat vector, with padding.
    pub n_elements: i64,
    /// Normalisation layers.
    pub n_norms: usize,
    /// Channels of all normalisation layers.
    pub n_channels: i64,
}

/// Elements between possible starts of parameters: 64 bytes of float32.
const ALIGNMENT: i64 = 16;

impl Layout {
    /// How far it goes so far.
    pub fn extent(&self) -> Extent {
        Extent {
            n_parameters: self.parameters.len(),
            n_elements: self.n_elements,
            n_norms: self.norms.len(),
            n_channels: self.n_channels,
        }
    }

    /// Adds a parameter at the end.
    pub fn parameter(&mut self, name: String, shape: &[i64], role: Role) -> ParameterId {
        let offset = self.n_elements;
        let parameter = Parameter {
            name,
            shape: shape.to_vec(),
            role,
            offset,
        };
        self.n_elements += (parameter.len() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        self.parameters.push(parameter);
        ParameterId(self.parameters.len() - 1)
    }

    /// Adds the statistics of a normalisation layer at the end.
    pub fn norm(&mut self, name: String, channels: i64) -> NormId {
        self.norms.push(NormLayer {
            name,
            channels,
            offset: self.n_channels,
        });
        self.n_channels += channels;
        NormId(self.norms.len() - 1)
    }
}
