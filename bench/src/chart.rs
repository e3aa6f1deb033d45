//! Bar charts as SVG, readable on light and dark pages.

use std::fmt::Write as _;

/// Bars of one unit, the shorter the better or the other way round as its title says.
pub struct Panel {
    pub title: String,
    pub bars: Vec<Bar>,
}

pub struct Bar {
    pub label: String,
    pub value: f64,
    pub text: String,
}

const LABELS: f64 = 180.0;
const BARS: f64 = 420.0;
const WIDTH: f64 = LABELS + BARS + 120.0;
const LINE: f64 = 24.0;
const TITLE: f64 = 34.0;

pub fn svg(panels: &[Panel]) -> String {
    let height: f64 =
        panels.iter().map(|panel| TITLE + LINE * panel.bars.len() as f64 + 12.0).sum();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">
<style>
text {{ fill: #24292f }} rect {{ fill: #9aa7b4 }} .page {{ fill: #ffffff }} .guard {{ fill: #0a7d4b }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3 }} rect {{ fill: #6b7785 }} .page {{ fill: #0d1117 }} .guard {{ fill: #2ea86f }}
}}
</style>
<rect class=\"page\" width=\"100%\" height=\"100%\"/>
"
    );
    let mut top = 0.0;
    for panel in panels {
        let _ = writeln!(
            svg,
            "<text x=\"8\" y=\"{}\" font-weight=\"bold\">{}</text>",
            top + 22.0,
            escape(&panel.title)
        );
        top += TITLE;
        let longest = panel.bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
        for bar in &panel.bars {
            let width = BARS * bar.value / longest;
            let class = if bar.label.starts_with("guard") { " class=\"guard\"" } else { "" };
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
                 <rect x=\"{LABELS}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\"{class}/>\
                 <text x=\"{:.1}\" y=\"{}\">{}</text>",
                LABELS - 8.0,
                top + 15.0,
                escape(&bar.label),
                top + 2.0,
                LINE - 6.0,
                LABELS + width + 6.0,
                top + 15.0,
                escape(&bar.text),
            );
            top += LINE;
        }
        top += 12.0;
    }
    svg + "</svg>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_bar_fills_the_chart() {
        let bar =
            |label: &str, value| Bar { label: label.to_owned(), value, text: value.to_string() };
        let bars = vec![bar("guard", 5.0), bar("a < b", 10.0)];
        let svg = svg(&[Panel { title: "per second".to_owned(), bars }]);
        assert!(svg.contains("width=\"210.0\" height=\"18\" class=\"guard\"/>"));
        assert!(svg.contains("width=\"420.0\" height=\"18\"/>"));
        assert!(svg.contains("a &lt; b"));
    }
}
