// Before anything is drawn, so that a page that is to be dark does not flash.
"use strict";
try {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch { /* no storage: as the system has it */ }
