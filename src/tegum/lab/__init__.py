"""The page in which one watches models learn: what is in `page/` is made by `node build.js page` in web/."""
