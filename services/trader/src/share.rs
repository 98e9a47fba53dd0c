//! Who should own which book: a pure decision over what one instance sees of the leases.

use protocol::ids::Token;
use runtime::lease::View;

/// One book as this instance sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Which.
    pub symbol: Token,
    /// Its lease.
    pub view: View,
    /// Ours, and nothing is open or pending: may be given away.
    pub flat: bool,
    /// Ours still, but its task was told to end, for another instance to have it.
    pub leaving: bool,
}

/// What to do about the leases now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Try to take these.
    pub claim: Vec<Token>,
    /// Give these back.
    pub release: Vec<Token>,
}

/// Books are spread evenly: each of `instances` live ones owns at most ceil(books / instances).
/// What an earlier boot of this instance owned comes back first; above its share an instance gives
/// back only books that are flat.
pub fn plan(books: &[Seen], instances: usize) -> Plan {
    let share = books.len().div_ceil(instances.max(1));
    let of = |wanted: fn(&View) -> bool| books.iter().filter(move |b| wanted(&b.view));
    let mine = || books.iter().filter(|b| b.view == View::Mine && !b.leaving);
    let earlier = of(|v| *v == View::OwnEarlierBoot);
    let room = share.saturating_sub(mine().count());
    let claim = earlier
        .chain(of(|v| *v == View::Free))
        .take(room)
        .map(|b| b.symbol.clone())
        .collect();
    let release = mine()
        .rev()
        .filter(|b| b.flat)
        .take(mine().count().saturating_sub(share))
        .map(|b| b.symbol.clone())
        .collect();
    Plan { claim, release }
}

#[cfg(test)]
mod tests {
    use protocol::lease::Holder;

    use super::*;

    fn other() -> View {
        View::Other(Holder {
            instance: "b".parse().unwrap(),
            boot: "1".parse().unwrap(),
        })
    }

    fn books(views: &[(View, bool)]) -> Vec<Seen> {
        let symbols = ["A", "B", "C", "D"];
        views
            .iter()
            .zip(symbols)
            .map(|((view, flat), symbol)| Seen {
                symbol: symbol.parse().unwrap(),
                view: view.clone(),
                flat: *flat,
                leaving: false,
            })
            .collect()
    }

    fn words(tokens: &[Token]) -> Vec<&str> {
        tokens.iter().map(Token::as_str).collect()
    }

    #[test]
    fn alone_it_takes_everything_that_is_free() {
        let seen = books(&[(View::Free, true), (other(), true), (View::Free, true)]);
        assert_eq!(words(&plan(&seen, 1).claim), ["A", "C"]);
    }

    #[test]
    fn with_others_it_takes_no_more_than_its_share() {
        let seen = books(&[(View::Free, true), (View::Free, true), (View::Free, true)]);
        assert_eq!(words(&plan(&seen, 2).claim), ["A", "B"]);
        assert_eq!(words(&plan(&seen, 3).claim), ["A"]);
    }

    #[test]
    fn its_own_earlier_books_come_first() {
        let seen = books(&[
            (View::Free, true),
            (View::OwnEarlierBoot, true),
            (other(), true),
        ]);
        assert_eq!(words(&plan(&seen, 3).claim), ["B"]);
    }

    #[test]
    fn a_newcomer_makes_it_give_back_flat_books_only() {
        let mine = |flat| (View::Mine, flat);
        let seen = books(&[mine(true), mine(true), mine(false), mine(false)]);
        assert_eq!(words(&plan(&seen, 2).release), ["B", "A"]);
        assert!(plan(&seen, 2).claim.is_empty());
        let seen = books(&[mine(false), mine(false), mine(false)]);
        assert_eq!(plan(&seen, 3), Plan::default());
    }

    #[test]
    fn a_book_on_its_way_out_is_neither_kept_nor_followed_by_another() {
        let mine = |flat| (View::Mine, flat);
        let mut seen = books(&[mine(true), mine(true), mine(false)]);
        seen[2].leaving = true;
        assert_eq!(plan(&seen, 2), Plan::default());
    }

    #[test]
    fn a_fair_share_is_kept() {
        let seen = books(&[(View::Mine, true), (View::Mine, true), (other(), true)]);
        assert_eq!(plan(&seen, 2), Plan::default());
    }
}
