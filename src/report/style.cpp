#include "style.h"

namespace cohort::report {

std::string_view style_sheet() noexcept {
  return R"(
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --text: #1c2430; --soft: #5d6878; --line: #dfe3e9;
  --grid: #e9ecf1; --worst: #b42318; --best: #0b7a53;
  --c0: #2563c9; --c1: #d9580f; --c2: #0f8a5f; --c3: #8b3fb0; --c4: #a87708; --c5: #c2255c; --c6: #0c8599; --c7: #5c6370; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1a2029; --text: #e6eaf0; --soft: #9aa6b6; --line: #2d3642;
  --grid: #262e39; --worst: #ff8a80; --best: #5fd6a5;
  --c0: #6ea8fe; --c1: #ff9f6b; --c2: #4fd1a1; --c3: #c792ea; --c4: #f2c14e; --c5: #ff7eb0; --c6: #56cfe1; --c7: #a8b0bd; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 2px; }
h2 { font-size: 19px; margin: 38px 0 12px; }
h3 { font-size: 16px; margin: 0 0 4px; }
p { margin: 0 0 12px; color: var(--soft); }
section.card, .tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px; }
section.card { margin-bottom: 16px; overflow-x: auto; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 14px; margin-top: 20px; }
.tile h3 { display: flex; align-items: center; gap: 8px; overflow-wrap: anywhere; }
.tile dl { display: grid; grid-template-columns: auto 1fr; gap: 1px 16px; margin: 8px 0 0; }
.tile dt { color: var(--soft); }
.tile dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px; background: currentColor; flex: none; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin-bottom: 12px; }
.legend span.entry { display: flex; align-items: center; gap: 7px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-weight: 600; font-size: 13px; white-space: normal; vertical-align: bottom; }
th.left, td.left { text-align: left; }
td.run span { display: inline-flex; align-items: center; gap: 8px; }
tr.same td { border-top-color: transparent; }
td.best { color: var(--best); font-weight: 700; }
td small { display: block; color: var(--soft); font-size: 11px; font-weight: 400; }
.card h3 .swatch, .card summary .swatch, main > h3 .swatch { margin-right: 8px; }
.confusion td { white-space: normal; }
.confusion .right { background: color-mix(in srgb, var(--best) calc(60% * var(--part)), transparent); }
.confusion .wrong { background: color-mix(in srgb, var(--worst) calc(60% * var(--part)), transparent); }
.explained img { display: block; max-width: 100%; height: auto; margin: 8px 0 2px; }
.explained p, .explained summary { font-size: 13px; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: 14px; }
.sheet figure { margin: 0; }
.sheet figcaption { font-size: 13px; color: var(--soft); overflow-wrap: anywhere; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(128px, 1fr)); gap: 14px; }
.gallery figure { margin: 0; }
.gallery img { display: block; max-width: 100%; height: auto; }
.gallery figcaption { font-size: 12px; color: var(--soft); overflow-wrap: anywhere; }
.scatter { max-width: 760px; }
td.differs { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 13px; text-align: left; white-space: normal;
  overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 14px; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); gap: 14px; margin-bottom: 16px; }
.charts > section.card { margin-bottom: 0; }
td.wraps { white-space: normal; overflow-wrap: anywhere; }
.plots .legend { gap: 2px 14px; margin: 4px 0 0; font-size: 13px; overflow-wrap: anywhere; }
.charts > div, .plots > div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px 8px; }
svg { display: block; width: 100%; height: auto; font-family: inherit; }
svg text { fill: var(--text); font-size: 12px; }
svg .title { font-size: 14px; font-weight: 600; }
svg .unit, svg .tick { fill: var(--soft); font-weight: 400; font-size: 12px; white-space: pre; }
svg .power { font-size: 10px; }
svg .grid { stroke: var(--grid); }
svg .axis { stroke: var(--line); }
svg .majority { stroke: var(--soft); stroke-dasharray: 4 3; }
svg .curve { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
svg .faint { stroke-width: 1; opacity: .35; }
svg .points { fill: none; stroke: currentColor; stroke-width: 5; stroke-linecap: round; opacity: .8; }
.charts img { display: block; max-width: 100%; height: auto; background: #ffffff; }
svg .dot { fill: currentColor; }
svg .points { fill: none; stroke: currentColor; stroke-width: 5; stroke-linecap: round; }
svg .bar { fill: currentColor; opacity: .62; }
svg .whisker { stroke: var(--text); stroke-width: 1; fill: none; opacity: .75; }
svg .value { font-size: 11px; fill: var(--soft); }
svg .worst { fill: var(--worst); font-weight: 600; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); } .c3 { color: var(--c3); }
.c4 { color: var(--c4); } .c5 { color: var(--c5); } .c6 { color: var(--c6); } .c7 { color: var(--c7); }
details { margin-top: 8px; }
summary { cursor: pointer; font-weight: 600; }
pre { margin: 8px 0 0; padding: 12px; overflow-x: auto; background: var(--page); border-radius: 8px; font: 13px/1.45 ui-monospace,
  "DejaVu Sans Mono", monospace; }
@media print { body { background: #ffffff; } .charts > div, .plots > div, section.card { break-inside: avoid; } }
)";
}

}  // namespace cohort::report
