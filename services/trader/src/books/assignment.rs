//! Assignment of books to processes: a pure decision on the leases that one process has read.

use protocol::ids::SubjectToken;
use runtime::lease::LeaseStatus;

/// The lease of one book, as this process has read it.
#[derive(Debug, Clone)]
pub struct BookLeaseView {
    /// Symbol that the book trades.
    pub symbol: SubjectToken,
    /// Status of the lease.
    pub status: LeaseStatus,
    /// This process holds the book, and nothing is open or pending: the book may be relinquished.
    pub flat: bool,
    /// This process still holds the book, but its task is shutting down for another process.
    pub is_ending: bool,
}

/// What to do with the leases.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AssignmentPlan {
    /// Symbols whose books this instance acquires now.
    pub acquire: Vec<SubjectToken>,
    /// Symbols whose books this instance gives back.
    pub relinquish: Vec<SubjectToken>,
}

/// Plans an even assignment: each of `instances` live processes holds at most ceil(books / instances).
/// Books of an earlier boot of this instance are acquired first. Above its share a process relinquishes only books
/// that are flat.
pub fn plan(books: &[BookLeaseView], instances: usize) -> AssignmentPlan {
    let share = books.len().div_ceil(instances.max(1));
    let with_status =
        |wanted: fn(&LeaseStatus) -> bool| books.iter().filter(move |b| wanted(&b.status));
    let mine = || {
        books
            .iter()
            .filter(|b| b.status == LeaseStatus::HeldByThisBoot && !b.is_ending)
    };
    let earlier = with_status(|v| *v == LeaseStatus::HeldByPreviousBoot);
    let room = share.saturating_sub(mine().count());
    let acquire = earlier
        .chain(with_status(|v| *v == LeaseStatus::Free))
        .take(room)
        .map(|b| b.symbol.clone())
        .collect();
    let relinquish = mine()
        .rev()
        .filter(|b| b.flat)
        .take(mine().count().saturating_sub(share))
        .map(|b| b.symbol.clone())
        .collect();
    AssignmentPlan {
        acquire,
        relinquish,
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
        let leases = books(&[
            (LeaseStatus::Free, true),
            (other(), true),
            (LeaseStatus::Free, true),
        ]);
        assert_eq!(symbol_names(&plan(&leases, 1).acquire), ["A", "C"]);
    }

    #[test]
    fn instance_acquires_no_more_than_its_share() {
        let leases = books(&[
            (LeaseStatus::Free, true),
            (LeaseStatus::Free, true),
            (LeaseStatus::Free, true),
        ]);
        assert_eq!(symbol_names(&plan(&leases, 2).acquire), ["A", "B"]);
        assert_eq!(symbol_names(&plan(&leases, 3).acquire), ["A"]);
    }

    #[test]
    fn books_of_an_earlier_boot_are_acquired_first() {
        let leases = books(&[
            (LeaseStatus::Free, true),
            (LeaseStatus::HeldByPreviousBoot, true),
            (other(), true),
        ]);
        assert_eq!(symbol_names(&plan(&leases, 3).acquire), ["B"]);
    }

    #[test]
    fn only_flat_books_are_relinquished_to_a_new_instance() {
        let mine = |flat| (LeaseStatus::HeldByThisBoot, flat);
        let leases = books(&[mine(true), mine(true), mine(false), mine(false)]);
        assert_eq!(symbol_names(&plan(&leases, 2).relinquish), ["B", "A"]);
        assert!(plan(&leases, 2).acquire.is_empty());
        let leases = books(&[mine(false), mine(false), mine(false)]);
        assert_eq!(plan(&leases, 3), AssignmentPlan::default());
    }

    #[test]
    fn ending_book_is_neither_counted_nor_followed_by_another() {
        let mine = |flat| (LeaseStatus::HeldByThisBoot, flat);
        let mut leases = books(&[mine(true), mine(true), mine(false)]);
        leases[2].is_ending = true;
        assert_eq!(plan(&leases, 2), AssignmentPlan::default());
    }

    #[test]
    fn fair_share_is_kept() {
        let leases = books(&[
            (LeaseStatus::HeldByThisBoot, true),
            (LeaseStatus::HeldByThisBoot, true),
            (other(), true),
        ]);
        assert_eq!(plan(&leases, 2), AssignmentPlan::default());
    }
}
