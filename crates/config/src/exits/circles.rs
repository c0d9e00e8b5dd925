//! No pool leads to itself.

use crate::ConfigError;
use crate::model::{Exit, ExitKind, ExitPool};

/// The pools that an exit leads to are a graph; every circle in it is told once, where it closes.
pub(super) fn check(pools: &[ExitPool], errors: &mut Vec<ConfigError>) {
    let mut done = vec![false; pools.len()];
    for start in 0..pools.len() {
        let mut path = Vec::new();
        follow(start, pools, &mut path, &mut done, errors);
    }
}

fn follow<'a>(
    at: usize,
    pools: &'a [ExitPool],
    path: &mut Vec<(usize, &'a Exit)>,
    done: &mut [bool],
    errors: &mut Vec<ConfigError>,
) {
    if done.get(at).copied().unwrap_or(true) {
        return;
    }
    for exit in &pools[at].exits {
        let ExitKind::Pool(next) = exit.kind else { continue };
        path.push((at, exit));
        if let Some(from) = path.iter().position(|(pool, _)| *pool == next) {
            errors.push(circle(&path[from..], pools));
        } else {
            follow(next, pools, path, done, errors);
        }
        path.pop();
    }
    done[at] = true;
}

fn circle(steps: &[(usize, &Exit)], pools: &[ExitPool]) -> ConfigError {
    let mut names: Vec<_> = steps.iter().map(|(pool, _)| pools[*pool].name.as_str()).collect();
    names.extend(names.first().copied());
    // A circle has at least the step that closes it.
    let (last, before) =
        steps.split_last().map_or((pools[0].span, steps), |it| (it.0.1.span, it.1));
    let error = ConfigError::at(
        last,
        format!("pools lead to each other in a circle: {}", names.join(" → ")),
        "leads back",
    );
    before
        .iter()
        .fold(error, |error, (_, exit)| error.also(exit.span, "leads on"))
        .help("take one of them out")
}
