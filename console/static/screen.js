// What the screen is like: narrow ones show one pane at a time, and a chart's colours follow light and dark.

import { useLayoutEffect, useState } from "./draw.js";

function useMedia(query) {
  const [media] = useState(() => matchMedia(query));
  const [matches, set] = useState(media.matches);
  useLayoutEffect(() => {
    const look = () => set(media.matches);
    media.addEventListener("change", look);
    return () => media.removeEventListener("change", look);
  }, [media]);
  return matches;
}

/** As in the style sheets: one pane at a time. */
export const useNarrow = () => useMedia("(max-width: 819px)");
export const useDark = () => useMedia("(prefers-color-scheme: dark)");
