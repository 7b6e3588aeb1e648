//! The journal: what must survive the coordinator. A trait, so that a standby over etcd can take its place.

use std::path::Path;

use anyhow::Context;
use m2t_coordinator_core::Record;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

/// A durable sequence of records.
pub(crate) trait Journal: Send {
    /// Adds a record; durable when this returns.
    fn append(&mut self, record: &Record) -> anyhow::Result<()>;
}

/// Records by their number, as JSON: readable by other versions, and by people with a redb browser.
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

/// The journal in one file on this machine.
pub(crate) struct RedbJournal {
    database: Database,
    next: u64,
}

impl RedbJournal {
    /// Opens the journal in `folder`, or makes it, and reads all its records, oldest first.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<(Self, Vec<Record>)> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("could not make the state folder {}", folder.display()))?;
        let path = folder.join("journal.redb");
        let failed = || format!("could not open the journal {}", path.display());
        let database = Database::create(&path).with_context(failed)?;
        // Opening a table in a write makes it, so that reading a new journal finds it.
        let write = database.begin_write().with_context(failed)?;
        write.open_table(RECORDS).with_context(failed)?;
        write.commit().with_context(failed)?;
        let records =
            read(&database).with_context(|| format!("could not read the journal {}", path.display()))?;
        let next = records.last().map_or(0, |(number, _)| number + 1);
        let records = records.into_iter().map(|(_, record)| record).collect();
        Ok((Self { database, next }, records))
    }
}

fn read(database: &Database) -> anyhow::Result<Vec<(u64, Record)>> {
    let read = database.begin_read()?;
    let table = read.open_table(RECORDS)?;
    let mut records = Vec::new();
    for entry in table.iter()? {
        let (number, json) = entry?;
        let number = number.value();
        let record = serde_json::from_slice(json.value())
            .with_context(|| format!("record {number} is not of a version this program knows"))?;
        records.push((number, record));
    }
    Ok(records)
}

impl Journal for RedbJournal {
    fn append(&mut self, record: &Record) -> anyhow::Result<()> {
        let json = serde_json::to_vec(record).context("a record is plain data")?;
        let put = || -> Result<(), redb::Error> {
            let write = self.database.begin_write()?;
            write.open_table(RECORDS)?.insert(self.next, json.as_slice())?;
            Ok(write.commit()?)
        };
        put().context("could not write the journal; look whether its disk is full")?;
        self.next += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use m2t_common::Step;

    use super::*;

    fn finished(step: u64) -> Record {
        Record::Finished {
            step: Step(step),
            state_digest: "d".into(),
        }
    }

    #[test]
    fn records_come_back_in_order_after_every_opening() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let (mut journal, records) = RedbJournal::open(folder.path()).unwrap();
            assert_eq!(records, (0..round * 2).map(finished).collect::<Vec<_>>());
            journal.append(&finished(round * 2)).unwrap();
            journal.append(&finished(round * 2 + 1)).unwrap();
        }
    }

    #[test]
    fn a_journal_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let _owner = RedbJournal::open(folder.path()).unwrap();
        assert!(RedbJournal::open(folder.path()).is_err());
    }
}
