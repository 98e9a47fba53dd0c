//! Who should own which book: a pure decision over what one instance sees of the leases.

use protocol::ids::SubjectToken;
use runtime::lease::LeaseStatus;

/// One book as this instance sees it.
#[derive(Debug, Clone)]
pub struct BookLeaseView {
    /// Which.
    pub symbol: SubjectToken,
    /// Its lease.
    pub status: LeaseStatus,
    /// Ours, and nothing is open or pending: may be given away.
    pub flat: bool,
    /// Ours still, but its task was told to end, for another instance to have it.
    pub is_ending: bool,
}

/// What to do about the leases now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AssignmentPlan {
    /// Try to take these.
    pub acquire: Vec<SubjectToken>,
    /// Give these back.
    pub relinquish: Vec<SubjectToken>,
}

/// Books are spread evenly: each of `instances` live ones owns at most ceil(books / instances).
/// What an earlier boot of this instance owned comes back first; above its share an instance gives
/// back only books that are flat.
pub fn plan(books: &[BookLeaseView], instances: usize) -> AssignmentPlan {
    let share = books.len().div_ceil(instances.max(1));
    let of = |wanted: fn(&LeaseStatus) -> bool| books.iter().filter(move |b| wanted(&b.status));
    let mine = || {
        books
            .iter()
            .filter(|b| b.status == LeaseStatus::HeldByThisBoot && !b.is_ending)
    };
    let earlier = of(|v| *v == LeaseStatus::HeldByPreviousBoot);
    let room = share.saturating_sub(mine().count());
    let claim = earlier
        .chain(of(|v| *v == LeaseStatus::Free))
        .take(room)
        .map(|b| b.symbol.clone())
        .collect();
    let release = mine()
        .rev()
        .filter(|b| b.flat)
        .take(mine().count().saturating_sub(share))
        .map(|b| b.symbol.clone())
        .collect();
    AssignmentPlan {
        acquire: claim,
        relinquish: release,
    }
}

#[cfg(test)]
mod tests {
    use protocol::lease::Holder;

    use super::*;

    fn other() -> LeaseStatus {
        LeaseStatus::HeldByOther(Holder {
            instance: "b".parse().unwrap(),
            boot: "1".parse().unwrap(),
        })
    }

    fn books(views: &[(LeaseStatus, bool)]) -> Vec<BookLeaseView> {
        let symbols = ["A", "B", "C", "D"];
        views
            .iter()
            .zip(symbols)
            .map(|((view, flat), symbol)| BookLeaseView {
                symbol: symbol.parse().unwrap(),
                status: view.clone(),
                flat: *flat,
                is_ending: false,
            })
            .collect()
    }

    fn symbol_names(tokens: &[SubjectToken]) -> Vec<&str> {
        tokens.iter().map(SubjectToken::as_str).collect()
    }

    #[test]
    fn single_instance_acquires_every_free_book() {
        let seen = books(&[
            (LeaseStatus::Free, true),
            (other(), true),
            (LeaseStatus::Free, true),
        ]);
        assert_eq!(symbol_names(&plan(&seen, 1).acquire), ["A", "C"]);
    }

    #[test]
    fn instance_acquires_no_more_than_its_share() {
        let seen = books(&[
            (LeaseStatus::Free, true),
            (LeaseStatus::Free, true),
            (LeaseStatus::Free, true),
        ]);
        assert_eq!(symbol_names(&plan(&seen, 2).acquire), ["A", "B"]);
        assert_eq!(symbol_names(&plan(&seen, 3).acquire), ["A"]);
    }

    #[test]
    fn books_of_an_earlier_boot_are_acquired_first() {
        let seen = books(&[
            (LeaseStatus::Free, true),
            (LeaseStatus::HeldByPreviousBoot, true),
            (other(), true),
        ]);
        assert_eq!(symbol_names(&plan(&seen, 3).acquire), ["B"]);
    }

    #[test]
    fn only_flat_books_are_relinquished_to_a_new_instance() {
        let mine = |flat| (LeaseStatus::HeldByThisBoot, flat);
        let seen = books(&[mine(true), mine(true), mine(false), mine(false)]);
        assert_eq!(symbol_names(&plan(&seen, 2).relinquish), ["B", "A"]);
        assert!(plan(&seen, 2).acquire.is_empty());
        let seen = books(&[mine(false), mine(false), mine(false)]);
        assert_eq!(plan(&seen, 3), AssignmentPlan::default());
    }

    #[test]
    fn ending_book_is_neither_counted_nor_followed_by_another() {
        let mine = |flat| (LeaseStatus::HeldByThisBoot, flat);
        let mut seen = books(&[mine(true), mine(true), mine(false)]);
        seen[2].is_ending = true;
        assert_eq!(plan(&seen, 2), AssignmentPlan::default());
    }

    #[test]
    fn fair_share_is_kept() {
        let seen = books(&[
            (LeaseStatus::HeldByThisBoot, true),
            (LeaseStatus::HeldByThisBoot, true),
            (other(), true),
        ]);
        assert_eq!(plan(&seen, 2), AssignmentPlan::default());
    }
}
