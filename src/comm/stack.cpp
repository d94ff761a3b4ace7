#include "comm/stack.h"

#include <cstdlib>
#include <execinfo.h>
#include <memory>
#include <unwind.h>
#ifdef COHORT_BACKTRACE
#include <backtrace.h>
#endif

#include <boost/core/demangle.hpp>
#include <fmt/format.h>

namespace cohort::comm {
namespace {

struct Taking {
  Stack& stack;
  std::size_t skipped;
};

_Unwind_Reason_Code take_call(_Unwind_Context* context, void* data) {
  Taking& taking = *static_cast<Taking*>(data);
  Stack& stack = taking.stack;
  if (stack.depth == stack.calls.size()) return _URC_END_OF_STACK;
  int is_next_to_run = 0;  // 0: it is where the call returns to, behind the call
  const std::uintptr_t address = _Unwind_GetIPInfo(context, &is_next_to_run);
  if (address == 0) return _URC_END_OF_STACK;
  if (taking.skipped > 0)
    --taking.skipped;
  else
    stack.calls[stack.depth++] = is_next_to_run != 0 ? address : address - 1;
  return _URC_NO_REASON;
}

std::array<void*, 64> pointers_of(const Stack& stack) noexcept {
  std::array<void*, 64> pointers{};
  for (std::size_t i = 0; i < stack.depth; ++i)
    pointers[i] = reinterpret_cast<void*>(stack.calls[i]);  // NOLINT: an address, for glibc
  return pointers;
}

/// Who is told, and whether that has happened for the current call.
struct Visitor {
  void (*visit)(void*, const CallPlace&);
  void* data;
  std::uintptr_t call;
  bool is_told;

  void tell(const char* function, const char* file, int line) noexcept {
    visit(data, {call, function, file, line});
    is_told = true;
  }
};

#ifdef COHORT_BACKTRACE

void ignore_error(void*, const char*, int) {}

backtrace_state* debug_information() noexcept {
  static backtrace_state* const state = backtrace_create_state(nullptr, 1, ignore_error, nullptr);
  return state;
}

int tell_line(void* data, std::uintptr_t, const char* file, int line, const char* function) {
  if (function != nullptr || file != nullptr) static_cast<Visitor*>(data)->tell(function, file, line);
  return 0;
}

void tell_symbol(void* data, std::uintptr_t, const char* symbol, std::uintptr_t, std::uintptr_t) {
  if (symbol != nullptr) static_cast<Visitor*>(data)->tell(symbol, nullptr, 0);
}

void look_up(Visitor& visitor) noexcept {
  backtrace_state* const state = debug_information();
  backtrace_pcinfo(state, visitor.call, tell_line, ignore_error, &visitor);
  if (!visitor.is_told) backtrace_syminfo(state, visitor.call, tell_symbol, ignore_error, &visitor);
}

void prepare_debug_information() noexcept {
  (void)debug_information();
}

#else

void look_up(Visitor&) noexcept {}
void prepare_debug_information() noexcept {}

#endif

struct Free {
  void operator()(void* memory) const noexcept { std::free(memory); }
};

std::string text_of(const CallPlace& place) {
  const std::string function =
      place.function == nullptr ? fmt::format("{:#x}", place.call) : boost::core::demangle(place.function);
  return place.file == nullptr ? function : fmt::format("{} at {}:{}", function, place.file, place.line);
}

}  // namespace

void prepare_stacks() noexcept {
  prepare_debug_information();
  Stack stack;
  take_stack(stack, 0);  // the unwinder loads what it needs now
}

[[gnu::noinline]] void take_stack(Stack& stack, std::size_t skipped) noexcept {
  stack.depth = 0;
  Taking taking{stack, skipped};
  _Unwind_Backtrace(take_call, &taking);
}

void visit_places(const Stack& stack, void (*visit)(void* data, const CallPlace& place),
                  void* data) noexcept {
  for (std::size_t i = 0; i < stack.depth; ++i) {
    Visitor visitor{visit, data, stack.calls[i], false};
    look_up(visitor);
    if (!visitor.is_told) visitor.tell(nullptr, nullptr, 0);
  }
}

std::vector<std::string> addresses_of(const Stack& stack) {
  const auto pointers = pointers_of(stack);
  const std::unique_ptr<char*, Free> lines(
      ::backtrace_symbols(pointers.data(), static_cast<int>(stack.depth)));
  if (!lines) return {};
  return {lines.get(), lines.get() + stack.depth};
}

void write_addresses(const Stack& stack, int descriptor) noexcept {
  const auto pointers = pointers_of(stack);
  ::backtrace_symbols_fd(pointers.data(), static_cast<int>(stack.depth), descriptor);
}

std::vector<std::string> places_of(const Stack& stack) {
  std::vector<std::string> lines;
  visit_places(
      stack,
      [](void* all, const CallPlace& place) {
        static_cast<std::vector<std::string>*>(all)->push_back(text_of(place));
      },
      &lines);
  return lines;
}

}  // namespace cohort::comm
