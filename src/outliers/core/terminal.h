// The terminal that the program talks to.
#pragma once

#include <cstddef>

namespace outliers {

/// Columns of the terminal that stream `fd` is: what it says, or COLUMNS where it says nothing; 0 where `fd`
/// is no terminal, or neither says it.
size_t terminal_columns(int fd);

/// Columns that text on standard output is folded to: the terminal's, 80 where they are unknown, 40 at least.
size_t text_columns();

/// Columns that lists and tables on standard output may take: the terminal's, 40 at least; 0, which is any
/// number, where there is none, so that programs read whole rows.
size_t table_columns();

/// Whether standard error is a terminal on which a line can be drawn again: TERM is not dumb.
bool can_redraw();

}  // namespace outliers
