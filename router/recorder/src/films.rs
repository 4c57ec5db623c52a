//! Every kind of film there is.

use std::time::Duration;

use crate::api::Container;
use crate::film::{Film, Films, Origin, ReadSeek, Repair};
use crate::media::{Recording, repair};

/// MP4, WebM and RTP dumps.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files;

impl Films for Files {
    fn film(
        &self,
        container: Container,
        segment: Option<Duration>,
        origin: Origin,
    ) -> Box<dyn Film> {
        let _ = origin;
        Box::new(Recording::new(container, segment))
    }

    fn repair(&self, container: Container, file: &mut dyn ReadSeek) -> Option<Repair> {
        repair(container, file)
    }
}
