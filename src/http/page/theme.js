// Light or dark: as the system says, until the switch says otherwise.
(() => {
  const root = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)');
  const current = () => root.dataset.theme ?? (system.matches ? 'dark' : 'light');
  const other = () => (current() === 'dark' ? 'light' : 'dark');
  const kept = localStorage.getItem('theme');
  if (kept === 'light' || kept === 'dark') root.dataset.theme = kept;

  addEventListener('DOMContentLoaded', () => {
    const button = document.getElementById('theme-button');
    const name = () => {
      button.textContent = other() === 'dark' ? 'Dark' : 'Light';
      button.setAttribute('aria-label', `Change to the ${other()} scheme`);
    };
    button.addEventListener('click', () => {
      root.dataset.theme = other();
      localStorage.setItem('theme', root.dataset.theme);
      name();
    });
    system.addEventListener('change', name);
    name();
  });
})();
