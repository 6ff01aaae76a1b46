//! Marks of sockets that a configuration asks for, tried before anything is served: without the right to set them, every
//! connection would fail.

use tollgate_config::Config;

use crate::app::AppError;
use crate::upstream::connect::may_mark;

/// Whether this process may set every mark.
pub(super) fn check(config: &Config) -> Result<(), AppError> {
    let marked = config.clusters.iter().filter_map(|cluster| Some((cluster, cluster.mark?)));
    for (cluster, mark) in marked {
        may_mark(mark).map_err(|source| AppError::Mark { cluster: cluster.name.clone(), mark, source })?;
    }
    Ok(())
}
