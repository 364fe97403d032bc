//! Stub.
use haulier_base::Result; use haulier_work::TaskContext; use crate::model::*;
#[derive(Clone, Debug)] pub(crate) struct Referee;
pub(crate) struct Asked { pub(crate) look_again: Vec<FileName>, pub(crate) read_first: Vec<(EntryName, FileName)> }
impl Referee { pub(crate) async fn observe(&self, _c: &TaskContext, _a: &EntryName, _o: &[Observation]) -> Result<Asked> { panic!() } }
