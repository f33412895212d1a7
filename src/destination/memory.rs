//! Files in memory: for tests of commands on damaged backups.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Error, File, Listed, Source};

/// Files by name.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Content by relative name.
    pub files: BTreeMap<String, Arc<Vec<u8>>>,
}

struct Open(Arc<Vec<u8>>);

impl Memory {
    /// A copy of everything in another source.
    pub fn copy_of(source: &dyn Source) -> Result<Self, Error> {
        let mut files = BTreeMap::new();
        for listed in source.list("")? {
            let content = source.read(&listed.name)?;
            files.insert(listed.name, Arc::new(content));
        }
        Ok(Self { files })
    }
}

impl Source for Memory {
    fn describe(&self) -> String {
        "memory".into()
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let below = self.files.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        Ok(below.map(|(name, content)| Listed { name: name.clone(), len: content.len() as u64 }).collect())
    }

    fn open(&self, name: &str) -> Result<Arc<dyn File>, Error> {
        match self.files.get(name) {
            Some(content) => Ok(Arc::new(Open(content.clone()))),
            None => Err(Error::NotFound { place: self.place(name) }),
        }
    }
}

impl File for Open {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, len: usize, buf: &mut Vec<u8>) -> Result<(), Error> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        buf.clear();
        buf.extend_from_slice(rest.get(..len).unwrap_or(rest));
        Ok(())
    }
}
