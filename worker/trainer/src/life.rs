//! The life of a trainer process: it outlives generations, and keeps between them the data index and the state.
//!
//! ```text
//!  Prepare ─► warm ─┐                 ┌─ finished, stopped ─► the process ends
//!                   ├─ Start ─► a generation ─ held, broken ─► Held{step}, or Warm without a whole state ─┐
//!                   └─────────────────┼──────────────────────────────────────────────────────────────────┘
//!                                     └─ own failure ─► the process ends
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use m2t_common::Generation;
use m2t_common::recipe::{Recipe, RecipeDigest};
use m2t_common::report::News;
use m2t_common::trainer_link::{Prepare, Start};

use crate::checkpoint::Writer;
use crate::feed::Data;
use crate::generation::{self, End};
use crate::hardware::Hardware;
use crate::leave::Leave;
use crate::link::{Link, Order};
use crate::membership::Membership;
use crate::objective::Objective;
use crate::state::State;

/// A trainer process.
pub struct Life {
    /// Whoever runs it.
    pub link: Arc<dyn Link>,
    /// What it computes on.
    pub hardware: Hardware,
    /// The generation it is in, or was last in; 0 before the first.
    pub generation: Generation,
    /// The state between generations; always whole.
    pub kept: Option<State>,
    /// What is trained, between generations; none before the first.
    pub objective: Option<Objective>,
    /// Writes checkpoints.
    pub writer: Writer,
    of: Option<Of>,
}

/// What the kept things belong to.
struct Of {
    recipe: RecipeDigest,
    folder: PathBuf,
    data: Data,
}

impl Life {
    /// A process that has done nothing yet.
    pub fn new(link: Arc<dyn Link>, hardware: Hardware) -> Self {
        Self {
            writer: Writer::start(Arc::clone(&link)),
            link,
            hardware,
            generation: Generation(0),
            kept: None,
            objective: None,
            of: None,
        }
    }

    /// Does what it is told, until it is done.
    ///
    /// # Errors
    /// When the device cannot go on. It is told by whoever calls, in the name of [`Life::generation`].
    pub fn live(&mut self, orders: &Receiver<Order>) -> anyhow::Result<()> {
        for order in orders {
            match order {
                Order::Prepare(prepare) => self.prepare(&prepare)?,
                Order::Start(start, membership) => match self.take_part(&start, &membership)? {
                    End::Done => return Ok(()),
                    End::Out { broken } => self.say_where_it_stands(broken),
                },
                Order::SayAgain => self.say_where_it_stands(None),
            }
        }
        Ok(())
    }

    fn prepare(&mut self, prepare: &Prepare) -> anyhow::Result<()> {
        let data = self.belong(&prepare.recipe, &prepare.data);
        data.index(&prepare.data)?;
        data.exam(&prepare.recipe, &prepare.data)?;
        if self.objective.is_none() {
            let device = self.hardware.device();
            self.objective = Some(data.objective(&prepare.recipe, &prepare.data, device)?);
        }
        self.say_where_it_stands(None);
        Ok(())
    }

    fn take_part(&mut self, start: &Start, membership: &Arc<Membership>) -> anyhow::Result<End> {
        self.generation = start.generation;
        let data = self.belong(&start.recipe, &start.data);
        let end = generation::run(self, &data, start, membership);
        let told = membership.leave().is_err();
        match end {
            Ok(End::Out { broken }) => Ok(End::Out { broken }),
            Ok(End::Done) => Ok(End::Done),
            Err(Leave::Failed(error)) => Err(error),
            Err(Leave::Broken(reason)) if !told => Ok(End::Out { broken: Some(reason) }),
            Err(Leave::Broken(_) | Leave::Held) => Ok(End::Out { broken: None }),
        }
    }

    /// The data index; what was kept of another recipe or folder is dropped.
    fn belong(&mut self, recipe: &Recipe, folder: &std::path::Path) -> Data {
        m2t_torch::set_threads(recipe.training.threads_per_device);
        let digest = recipe.digest();
        if self.of.as_ref().is_some_and(|of| of.recipe != digest) {
            (self.kept, self.objective) = (None, None);
        }
        let same_folder = self.of.take().filter(|of| of.folder == folder);
        let data = same_folder.map(|of| of.data).unwrap_or_default();
        self.of = Some(Of {
            recipe: digest,
            folder: folder.to_owned(),
            data: data.clone(),
        });
        data
    }

    fn say_where_it_stands(&self, broken: Option<String>) {
        let news = match &self.kept {
            Some(state) => News::Held {
                step: state.step,
                broken,
            },
            None => News::Warm,
        };
        self.link.tell(self.generation, news);
    }
}
