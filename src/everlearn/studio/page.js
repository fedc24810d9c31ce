// Runs once when the page is there: the key of this browser session, the look, and what the tour remembers.
() => {
  const root = document.documentElement;
  root.lang = 'en';
  const wanted = localStorage.getItem('everlearn-look');
  if (wanted) document.body.classList.toggle('dark', wanted === 'dark');
  const seen = localStorage.getItem('everlearn-tour') === 'seen';
  const settle = () => {
    const tour = document.getElementById('el-tour');
    if (!tour) return false;
    if (seen) tour.open = false;
    tour.addEventListener('toggle', () => { if (!tour.open) localStorage.setItem('everlearn-tour', 'seen'); });
    return true;
  };
  if (!settle()) {
    const watch = new MutationObserver(() => { if (settle()) watch.disconnect(); });
    watch.observe(document.body, { childList: true, subtree: true });
  }
}
