// Progress on a terminal: one line on standard error that rewrites itself, with rate and time left. It is
// never wider than the terminal and has no escape sequences: it is overwritten with spaces.
#pragma once

namespace outliers {

/// Draws all progress from now on, unless standard error is no terminal, or TERM is dumb. For programs.
void show_progress_line();

/// Takes the line away, if one is drawn, before something else is written to standard error. The next update
/// draws it again. Safe from any thread.
void clear_progress_line();

}  // namespace outliers
