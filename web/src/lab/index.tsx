// The page's module: the element <tegum-lab>, which trains in the page. It fetches nothing.
import { TegumLab } from "./element.tsx";

if (customElements.get("tegum-lab") === undefined) customElements.define("tegum-lab", TegumLab);
