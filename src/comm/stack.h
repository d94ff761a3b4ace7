#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace cohort::comm {

/// The calls that a thread is in, innermost first: addresses of instructions inside of them.
struct Stack {
  std::array<std::uintptr_t, 64> calls{};
  std::size_t depth = 0;
};

/// Before the others are used in a signal handler: loads what they need.
void prepare_stacks() noexcept;

/// Of the calling thread, without the `skipped` innermost calls (0: take_stack() itself). Signal handlers may
/// call it.
void take_stack(Stack& stack, std::size_t skipped) noexcept;

/// Where a call stands in the sources. What is not known is null, or 0.
struct CallPlace {
  std::uintptr_t call;
  const char *function, *file;  ///< `function` as in object files ("_Z3foov"), or shorter
  int line;
};

/// Calls `visit(data, place)` for each call, and before it for what was inlined there. Debug information is
/// read at the first use, which takes a second with LibTorch. Without libbacktrace, or if it finds nothing,
/// places have no function and line. Signal handlers may call it: it takes memory from the system alone, and
/// no lock but that of the loader.
void visit_places(const Stack& stack, void (*visit)(void* data, const CallPlace& place), void* data) noexcept;

/// A line a call: "libcohort.so(+0x12) [0x7f…]". Fast.
std::vector<std::string> addresses_of(const Stack& stack);
void write_addresses(const Stack& stack, int descriptor) noexcept;  ///< Signal handlers may call it.

/// A line a call or what was inlined there: "cohort::train() at src/train.cpp:12". Uses visit_places().
std::vector<std::string> places_of(const Stack& stack);

}  // namespace cohort::comm
