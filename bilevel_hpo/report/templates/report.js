"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)");
  const places = Array.from(document.querySelectorAll("[data-figure]"));
  const drawn = new Set();
  let printing = false;

  // Figures are drawn when they come near the screen: 40 of them at once would hold the page up.
  function draw(place) {
    const { data, layout } = figures[place.dataset.figure];
    const light = printing || !dark.matches;
    const narrow = place.clientWidth < 520;
    const now = structuredClone(layout);
    const template = now.template.layout;
    template.font.color = light ? "#3d4350" : "#c3c9d4";
    template.hoverlabel.bgcolor = light ? "#ffffff" : "#262b34";
    template.hoverlabel.font.color = light ? "#1d2129" : "#e4e7ec";
    if (touch.matches && !now.scene) now.dragmode = false; // a finger scrolls the page, it does not zoom the figure
    if (narrow) {
      const below = { orientation: "h", y: -0.02, yanchor: "top", x: 0.5, xpad: 10, len: 0.9 };
      if (now.coloraxis) Object.assign(now.coloraxis.colorbar, below, { title: { ...now.coloraxis.colorbar.title, side: "top" } });
      if (now.scene) now.scene.camera = { eye: { x: 2, y: -2, z: 0.95 } };
    }
    if (now.scene) {
      const grid = light ? "#cdd2da" : "#444b58";
      for (const axis of ["xaxis", "yaxis", "zaxis"]) Object.assign(template.scene[axis], { gridcolor: grid, linecolor: grid });
    }
    now.autosize = true;
    drawn.add(place);
    Plotly.react(place, structuredClone(data), now, {
      responsive: true,
      displaylogo: false,
      displayModeBar: touch.matches ? false : "hover",
      modeBarButtons: [["toImage", now.scene ? "resetCameraDefault3d" : "resetScale2d"]],
      showSendToCloud: false, // nothing leaves this page
      plotlyServerURL: "",
    });
  }

  // What a figure shows, as a file: the page holds it already.
  document.querySelectorAll("[data-csv]").forEach((button) => button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([figures[button.dataset.csv].csv], { type: "text/csv" }));
    link.download = `${button.dataset.csv}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  }));

  const redraw = () => drawn.forEach(draw);
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "600px" });
  places.forEach((place) => near.observe(place));
  dark.addEventListener("change", redraw);
  addEventListener("beforeprint", () => {
    printing = true;
    document.documentElement.classList.add("printing"); // the figures take the width of the paper
    document.querySelectorAll("details").forEach((each) => { each.open = true; });
    places.forEach(draw);
  });
  addEventListener("afterprint", () => {
    printing = false;
    document.documentElement.classList.remove("printing");
    redraw();
  });
})();
