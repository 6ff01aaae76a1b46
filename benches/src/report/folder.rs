//! The folder of a report. What there is by now is written beside it, and takes its place once all of it is there: a run that
//! is broken off leaves the report that was there before. Files that are no report's stay.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{RESULTS, render};
use crate::results::Results;

/// See the module.
#[derive(Clone, Debug)]
pub struct Folder {
    whole: PathBuf,
    part: PathBuf,
}

impl Folder {
    /// Of this path; nothing is made yet.
    pub fn at(path: &Path) -> Folder {
        // A name that ends with a slash would have the other inside of it.
        let whole: PathBuf = path.components().collect();
        let mut part = OsString::from(&whole);
        part.push(".part");
        Folder { whole, part: part.into() }
    }

    /// Writes what there is beside the folder, in place of what was written there before.
    pub fn draft(&self, results: &Results) -> io::Result<()> {
        if self.part.exists() {
            fs::remove_dir_all(&self.part)?;
        }
        fs::create_dir_all(&self.part)?;
        fs::write(self.part.join(RESULTS), serde_json::to_vec(results)?)?;
        render(results).iter().try_for_each(|page| fs::write(self.part.join(&page.name), &page.text))
    }

    /// Writes all there is, and puts it in the place of an older report, whose pictures go.
    pub fn settle(&self, results: &Results) -> io::Result<()> {
        self.draft(results)?;
        fs::create_dir_all(&self.whole)?;
        for file in fs::read_dir(&self.part)? {
            let file = file?;
            fs::rename(file.path(), self.whole.join(file.file_name()))?;
        }
        fs::remove_dir(&self.part)?;
        self.clear(results)
    }

    /// Removes pictures that these results do not have.
    fn clear(&self, results: &Results) -> io::Result<()> {
        let pages = render(results);
        for file in fs::read_dir(&self.whole)? {
            let file = file?.path();
            let is_picture = file.extension().is_some_and(|extension| extension == "svg");
            let is_kept = pages.iter().any(|page| file.ends_with(&page.name));
            if is_picture && !is_kept {
                fs::remove_file(file)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::CaseResult;

    fn of(case: &str) -> Results {
        let case = CaseResult { name: case.to_owned(), ..CaseResult::default() };
        Results { cases: vec![case], ..Results::default() }
    }

    fn names(folder: &Path) -> Vec<String> {
        let files = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_run_that_is_broken_off_leaves_the_report_before_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(&place.path().join("report/"));
        folder.settle(&of("older")).unwrap();
        let before = fs::read(place.path().join("report").join(RESULTS)).unwrap();

        folder.draft(&of("newer")).unwrap();

        assert_eq!(fs::read(place.path().join("report").join(RESULTS)).unwrap(), before);
        assert_eq!(names(place.path()), ["report", "report.part"]);
    }

    #[test]
    fn a_whole_report_takes_the_place_of_an_older_one_and_leaves_what_is_no_part_of_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(&place.path().join("report"));
        folder.settle(&of("older")).unwrap();
        fs::write(place.path().join("report/arm.md"), "of another program").unwrap();
        folder.draft(&of("broken off")).unwrap();

        folder.settle(&of("newer")).unwrap();

        let expected = ["arm.md", "cpu-newer.svg", "index.md", "latency-newer.svg", RESULTS];
        assert_eq!(names(&place.path().join("report")), expected);
        assert_eq!(names(place.path()), ["report"]);
    }
}
