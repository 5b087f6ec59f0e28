// Six tabs of one browser, which opens no more than six connections to one server: all of them talk and hear.
import { browsing } from "./lib.mjs";

await browsing(async ({ open }) => {
  const tabs = [];
  for (let n = 0; n < 6; n += 1) {
    tabs.push(await open());
  }
  for (const [n, tab] of tabs.entries()) {
    await tab.say(`number ${n}`);
    for (const other of tabs) {
      await (other === tab ? other.said(`number ${n}`, "sent") : other.heard(`number ${n}`));
    }
  }
});
