// What the server says of instructions that nobody has published: what is wrong, how they read, what would change.

import { useEffect, useRef, useState } from "./draw.js";
import { ask } from "./wire.js";

const TYPING = 350; // milliseconds after the last key

/** As the server takes it: an empty line between two stop texts is none. */
export const wireOf = ({ prompts, sampling }) => ({
  prompts,
  sampling: { ...sampling, stop: sampling.stop.filter(Boolean) },
});

/** The server's word on the newest text that it has seen; null before the first. It is asked when the typing rests. */
export function useDraft(bot, data, recipe, wanted) {
  const [draft, set] = useState(null);
  const latest = useRef(0);
  const body = JSON.stringify(wireOf(recipe));
  const live = data.versions[0]?.number;
  useEffect(() => {
    if (!wanted) return undefined;
    const mine = ++latest.current;
    const look = async () => {
      try {
        const told = await ask(`/bots/${bot}/draft`, { body: JSON.parse(body) });
        if (mine === latest.current) set(told);
      } catch (error) {
        // A number that is out of all bounds; a server that is away is asked again with the next key.
        if (mine === latest.current && error.status === 400) set((old) => old && { ...old, problems: [error.sentence] });
      }
    };
    const timer = setTimeout(look, draft ? TYPING : 0);
    return () => clearTimeout(timer);
  }, [bot, body, live, wanted]);
  return draft;
}
