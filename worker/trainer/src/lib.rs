//! m2t-trainer: Momentum² Teacher on one device of a group, readable beside the paper (arXiv 2101.07525).
//!
//! The trainer knows no coordinator: in come an assignment, a recipe and paths; out go [`News`](m2t_common::report::News).
//! Read [`step`] first: one step as a transaction. Then [`model`] for the networks, [`sum`] for the sum over ranks that
//! gives equal bits in every placement, [`state`] for what a step changes, [`train`] for the loop around it,
//! [`generation`] for what comes before it, [`life`] for the process that outlives generations.

pub mod augment;
pub mod check_gpu;
pub mod checkpoint;
pub mod doctor;
pub mod donate;
pub mod encoder;
pub mod evaluation;
pub mod export;
pub mod features;
pub mod feed;
pub mod generation;
pub mod group;
pub mod hardware;
pub mod import;
pub mod kept_features;
pub mod knn;
pub mod leave;
pub mod life;
pub mod link;
pub mod measure;
pub mod membership;
pub mod model;
pub mod objective;
pub mod optimizer;
pub mod pending;
pub mod pth;
pub mod state;
pub mod step;
pub mod sum;
pub mod train;
