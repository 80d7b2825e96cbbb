// The page's module: the element <tegum-lab>, which trains in the page. It fetches nothing.
import { TegumLab } from "./element.tsx";
import { render } from "./widget.ts";

if (customElements.get("tegum-lab") === undefined) customElements.define("tegum-lab", TegumLab);

/** What anywidget asks for. */
export default { render };
