// Nothing is wider than the window, from a phone to a desk, whatever is written, the server there or gone.
import { browsing, daemon } from "./lib.mjs";

const WIDTHS = [320, 360, 390, 768, 1440];

await browsing(async ({ open }) => {
  const tab = await open({ viewport: { width: 360, height: 740 } });
  const fits = async () => {
    for (const width of WIDTHS) {
      await tab.page.setViewportSize({ width, height: 740 });
      await tab.fits();
    }
  };
  await fits();
  await tab.page.fill("#name", "W".repeat(24));
  await tab.page.press("#name", "Enter");
  const other = await open();
  for (const one of [tab, other]) {
    await one.say("W".repeat(500));
    await one.said("W".repeat(500), "sent");
  }
  await tab.heard("W".repeat(500));
  await tab.page.locator(".row summary").nth(1).click();
  await fits();

  tab.serverMayBeGone = true;
  other.serverMayBeGone = true;
  await daemon("kill");
  await tab.page.getByRole("button", { name: "Try now" }).waitFor();
  await tab.say("M".repeat(500));
  await tab.said("M".repeat(500), "waiting");
  await fits();
  await daemon("restart");
  await tab.is("connected");
  await tab.said("M".repeat(500), "sent");
  await fits();
});
