// The claims table shows the rows of one verdict, and those that hold the words typed; without scripts it shows all.
(() => {
  const bar = document.getElementById("filter");
  const rows = [...document.querySelectorAll("#claims tbody tr")];
  const buttons = [...bar.querySelectorAll("button")];
  const words = bar.querySelector("input");
  const said = document.getElementById("shown");
  let wanted = "";

  const show = () => {
    const text = words.value.trim().toLowerCase();
    const kept = rows.filter((row) => {
      row.hidden = !((!wanted || row.dataset.verdict === wanted) && row.textContent.toLowerCase().includes(text));
      return !row.hidden;
    });
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.verdict === wanted)));
    said.textContent = `${kept.length} of ${rows.length} rows`;
  };

  buttons.forEach((button) => button.addEventListener("click", () => { wanted = button.dataset.verdict; show(); }));
  words.addEventListener("input", show);
  bar.hidden = false;
  show();
})();
